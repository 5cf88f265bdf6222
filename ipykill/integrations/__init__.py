"""Libraries that draw or count for a job, one file each; ipykill imports none of them first."""
