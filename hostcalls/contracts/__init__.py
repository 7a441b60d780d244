"""How an answer to a hostcall is written."""
