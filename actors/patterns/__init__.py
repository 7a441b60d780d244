"""Ready-made actors: state machines, event managers, pools."""
