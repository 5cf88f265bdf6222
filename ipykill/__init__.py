"""Background cells for Jupyter and IPython that you can stop, and kill."""
