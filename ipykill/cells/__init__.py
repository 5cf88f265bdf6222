"""The user's code as a job runs it: the text of a cell, and scripts."""
