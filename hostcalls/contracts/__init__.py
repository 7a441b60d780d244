"""The interface that answers to hostcalls are written against."""
