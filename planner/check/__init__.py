"""Plans checked by running them: a small real sharded step, predicted against measured.

`planner.check.step.build` makes the step of a plan; what it is made of is in `spmd`, which imports
JAX and is imported by nothing else. `reduced` makes a job small enough for this machine.
"""
