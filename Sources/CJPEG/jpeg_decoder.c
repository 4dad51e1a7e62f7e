#include "jpeg_decoder.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

// A file of a few kilobytes may ask for any number of passes over a large image.
enum { MOST_SCANS = 500 };
// Pixels that all scans together may go over.
static const double MOST_SCANNED = 2e9;

typedef struct {
  // First, so that libjpeg's pointer is also one to this.
  struct jpeg_error_mgr manager;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char *message;
} error_state;

static void end_decoding(j_common_ptr info) {
  error_state *state = (error_state *)info->err;
  state->manager.format_message(info, state->message);
  longjmp(state->escape, 1);
}

// Some warnings leave the pixels right; the others mean that there are none for a part of the image.
static int is_harmless(int code) {
  return code == JWRN_ADOBE_XFORM || code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR;
}

static void take_message(j_common_ptr info, int level) {
  if (level < 0 && !is_harmless(info->err->msg_code)) end_decoding(info);
}

static void check_scans(j_common_ptr info) {
  error_state *state = (error_state *)info->err;
  j_decompress_ptr decoder = (j_decompress_ptr)info;
  // Each scan of a progressive file goes over the whole image.
  double work = (double)decoder->input_scan_number * decoder->image_width * decoder->image_height;
  if (decoder->input_scan_number <= MOST_SCANS && work <= MOST_SCANNED) return;
  snprintf(state->message, PBE_JPEG_MESSAGE, "more than %d scans, or too many for its size", MOST_SCANS);
  longjmp(state->escape, 1);
}

static void prepare(struct jpeg_decompress_struct *info, error_state *state, char *message) {
  memset(info, 0, sizeof *info);
  memset(state, 0, sizeof *state);
  message[0] = 0;
  state->message = message;
  info->err = jpeg_std_error(&state->manager);
  state->manager.error_exit = end_decoding;
  state->manager.emit_message = take_message;
  state->progress.progress_monitor = check_scans;
}

static void read_header(struct jpeg_decompress_struct *info, const uint8_t *file, size_t count,
                        pbe_jpeg_size *size, error_state *state) {
  jpeg_create_decompress(info);
  info->progress = &state->progress;
  jpeg_mem_src(info, file, (unsigned long)count);
  jpeg_read_header(info, TRUE);
  size->width = info->image_width;
  size->height = info->image_height;
  switch (info->jpeg_color_space) {
    case JCS_GRAYSCALE: size->channels = 1; break;
    case JCS_RGB:
    case JCS_YCbCr: size->channels = 3; break;
    default: size->channels = 0; break;
  }
}

int32_t pbe_jpeg_read_size(const uint8_t *file, size_t count, pbe_jpeg_size *size, char *message) {
  struct jpeg_decompress_struct info;
  error_state state;
  prepare(&info, &state, message);
  if (setjmp(state.escape)) {
    jpeg_destroy_decompress(&info);
    return 0;
  }
  read_header(&info, file, count, size, &state);
  jpeg_destroy_decompress(&info);
  return 1;
}

int32_t pbe_jpeg_read_pixels(const uint8_t *file, size_t count, pbe_jpeg_size size, uint8_t *pixels,
                             char *message) {
  struct jpeg_decompress_struct info;
  error_state state;
  prepare(&info, &state, message);
  if (setjmp(state.escape)) {
    jpeg_destroy_decompress(&info);
    return 0;
  }
  pbe_jpeg_size found;
  read_header(&info, file, count, &found, &state);
  info.out_color_space = size.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&info);
  // The room in `pixels` was made for another header, if these differ.
  if (info.output_width != size.width || info.output_height != size.height ||
      info.output_components != size.channels) {
    snprintf(message, PBE_JPEG_MESSAGE, "the header changed");
    longjmp(state.escape, 1);
  }
  size_t row = (size_t)size.width * (size_t)size.channels;
  while (info.output_scanline < info.output_height) {
    JSAMPROW line = pixels + row * info.output_scanline;
    jpeg_read_scanlines(&info, &line, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return 1;
}
