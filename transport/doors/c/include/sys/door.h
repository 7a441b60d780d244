/* As on illumos, where <door.h> includes this file; here it is the other way round. */
#include "../door.h"
