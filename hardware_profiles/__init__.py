"""Machines and software stacks as data: profiles (`load`), their `schema`, and the `stack` files.

Nothing is re-exported: `hardware_profiles.load` is the module, and its function has its name.
"""
