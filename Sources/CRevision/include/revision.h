// What the program was built from.
#pragma once

/// The git revision; empty where the build does not know it (scripts/bundle does).
const char *_Nonnull pbe_revision(void);
