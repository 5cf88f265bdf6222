"""Libraries that draw or count for a job, one file each; none is imported before the user does."""
