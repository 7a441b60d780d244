"""Kits for writing guests, and guests written with them.

`wat` is for the text format, `c/enfilade.h` for C, `zig/enfilade.zig` for Zig; `examples` has guests in each.
`enfilade guest sdk` prints this directory.
"""
