"""The magics, what stands on their lines, and the loading of it all."""
