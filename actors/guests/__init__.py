"""WebAssembly guests as processes."""

from enfilade.actors.guests.guest import Guest, guests_of, hold, open_guests, run_guest

__all__ = ["Guest", "guests_of", "hold", "open_guests", "run_guest"]
