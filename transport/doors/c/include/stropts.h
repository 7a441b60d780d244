/* Attaching doors to names, as in illumos <stropts.h>: fattach(3C), fdetach(3C), isastream(3C). */
#ifndef DOORS_STROPTS_H
#define DOORS_STROPTS_H

#ifdef __cplusplus
extern "C" {
#endif

int fattach(int fildes, const char *path);
int fdetach(const char *path);
int isastream(int fildes);

#ifdef __cplusplus
}
#endif

#endif
