/* Replica of the facts of illumos' <zone.h>: see sys/door.h beside it. */
#ifndef REPLICA_ZONE_H
#define REPLICA_ZONE_H

#include <sys/types.h>

typedef unsigned int uint_t;
typedef int zoneid_t;

#define GLOBAL_ZONEID   0
#define GLOBAL_ZONENAME "global"
#define MIN_USERZONEID  1
#define MAX_ZONEID      9999 /* some distributions: 8191 */
#define ALL_ZONES       (-1)
#define ZONENAME_MAX    64

#define ZONE_ATTR_ROOT   1
#define ZONE_ATTR_NAME   2
#define ZONE_ATTR_STATUS 3
#define ZONE_ATTR_UNIQID 5

zoneid_t getzoneid(void);
zoneid_t getzoneidbyname(const char *);
ssize_t getzonenamebyid(zoneid_t, char *, size_t);
int zone_list(zoneid_t *, uint_t *);
ssize_t zone_getattr(zoneid_t, int, void *, size_t);

#endif
