/*
 * Zones, as in illumos <zone.h>: getzoneid(3C). On Linux a zone is a set of user, mount and pid
 * namespaces; the caller's own set is the global zone, others are numbered as they are met.
 */
#ifndef DOORS_ZONE_H
#define DOORS_ZONE_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int zoneid_t;

#define GLOBAL_ZONEID 0
#define MIN_USERZONEID 1
#define MAX_ZONEID 9999
#define ALL_ZONES (-1)
#define ZONENAME_MAX 64
#define GLOBAL_ZONENAME "global"
#define ZONES_TMPDIR "/var/run/zones"

zoneid_t getzoneid(void);
zoneid_t getzoneidbyname(const char *name);
ssize_t getzonenamebyid(zoneid_t id, char *buffer, size_t length);

#ifdef __cplusplus
}
#endif

#endif
