"""Libraries that draw or count for a job, one file each; ipykill never imports one first."""
