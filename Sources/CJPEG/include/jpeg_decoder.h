// JPEG through libjpeg, whose errors end the program unless one jumps out of it: Swift can't, so that C does.
#ifndef PBE_JPEG_DECODER_H
#define PBE_JPEG_DECODER_H

#include <stddef.h>
#include <stdint.h>

// Bytes of a message, with the zero at its end: libjpeg's JMSG_LENGTH_MAX.
enum { PBE_JPEG_MESSAGE = 200 };

// What the header tells.
typedef struct {
  uint32_t width;
  uint32_t height;
  // Of the decoded pixels: 1 grey, 3 RGB; 0 for colours that are not decoded (CMYK).
  int32_t channels;
} pbe_jpeg_size;

// Reads the header. Returns 1, or 0 with a message.
int32_t pbe_jpeg_read_size(const uint8_t *_Nonnull file, size_t count, pbe_jpeg_size *_Nonnull size,
                           char *_Nonnull message);

// Decodes the file into `pixels`, which has room for the rows of `size`, channels side by side. Returns 1, or 0 with a
// message: also where the file is cut off or its data are damaged, which libjpeg itself only warns of.
int32_t pbe_jpeg_read_pixels(const uint8_t *_Nonnull file, size_t count, pbe_jpeg_size size,
                             uint8_t *_Nonnull pixels, char *_Nonnull message);

#endif
