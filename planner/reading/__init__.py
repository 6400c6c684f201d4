"""Reading what a user wrote: plain values with their lines, what is allowed, what names mean.

Parts: `document` and `flow` (YAML with the line of every key), `schema` and `grammar` (what a key
may be), `resolve` (what names mean), `complain` (the one message that helps most). Knows the forms
of files; prices nothing.
"""
