"""A test bed of DC/OS masters, and what must hold on it."""
