"""Measure this machine with JAX, and write the profile that `sixfold plan` takes as it is.

One way through: `launch` joins the processes of a job, `machine` says what JAX found, `menu` lists
the points to measure, `session` measures them (`timing` says how, `journal` keeps what is done, so
that a rerun continues), `kernel_fit` and `link_fit` turn times into constants and judge them on
what was held back, `profile` puts them into a machine's profile, `summary` says it all.

What is measured stands one idea a file: `products`, `elementwise`, `attention`, `experts`,
`copies`, `launches`, `exchanges`. All of them know shapes and JAX; none knows a plan.
"""
