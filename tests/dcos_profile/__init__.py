"""A DC/OS master below a root of its own: what the profile finds, does, refuses and puts back."""
