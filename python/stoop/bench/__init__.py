"""Training speed beside other libraries: what ``stoop bench`` runs. Nothing here is part of the public interface.

`import stoop` does not import it, and no module here imports another library before the process that measures it does.
"""
