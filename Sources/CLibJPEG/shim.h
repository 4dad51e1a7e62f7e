// jpeglib.h needs FILE and size_t, and does not include them.
#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>
