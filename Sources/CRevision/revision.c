#include "revision.h"

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x

const char *pbe_revision(void) {
#ifdef PBE_REVISION
  return TEXT(PBE_REVISION);
#else
  return "";
#endif
}
