"""The verbs as coroutines: what they give, how they stop, and where they run."""
