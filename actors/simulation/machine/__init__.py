"""The machine of a life: time, chance, modules and threads of its own, in the custody of the world."""
