"""Small kits for writing guests: `wat` for the text format, `c/enfilade.h` for C, `zig/enfilade.zig` for
Zig.
"""
