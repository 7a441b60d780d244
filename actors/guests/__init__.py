"""WebAssembly guests as processes."""

from actors.guests.guest import Guest, guests_of, hold, open_guests, run_guest

__all__ = ["Guest", "guests_of", "hold", "open_guests", "run_guest"]
