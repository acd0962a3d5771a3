"""The command line, a file a command; `conftest` has what stands for the verbs of the API."""
