"""A door that doubles a number: the client. See `double_server.py`."""

import sys

from enfilade.transport.doors import TypedClient

if __name__ == "__main__":
    with TypedClient.open(sys.argv[1], int, int) as double:
        print(double(int(sys.argv[2])))
