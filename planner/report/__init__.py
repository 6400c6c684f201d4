"""The report: a plan as people read it, from the plan dictionary (`plan.json`) alone."""
