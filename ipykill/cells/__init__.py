"""How a job runs the user's code: compiled cells, and scripts."""
