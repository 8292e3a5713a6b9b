"""The main job: a request becomes a plan, the plan runs in child processes, files appear."""
