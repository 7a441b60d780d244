"""A door that doubles a number: the server.

Run it in one terminal, and `double_client.py` in another:

    $ python docs/examples/double_server.py /tmp/double.door
    $ python docs/examples/double_client.py /tmp/double.door 111
    222
"""

import signal
import sys

from enfilade.transport.doors import Door, server_procedure


@server_procedure
def double(number: int) -> int:
    return 2 * number


STOP = {signal.SIGINT, signal.SIGTERM}

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    with Door(double) as door:
        door.force_install(sys.argv[1])
        print(f"serving at {sys.argv[1]}", flush=True)
        signal.sigwait(STOP)
