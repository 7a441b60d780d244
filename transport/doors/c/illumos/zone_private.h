/* Functions of illumos' libc that older installed headers do not declare; where they do, it is in the same words. */
#ifndef ZONE_PRIVATE_H
#define ZONE_PRIVATE_H

#include <sys/types.h>
#include <zone.h>

int zone_list(zoneid_t *ids, uint_t *count);
ssize_t zone_getattr(zoneid_t id, int attribute, void *buffer, size_t size);

#endif
