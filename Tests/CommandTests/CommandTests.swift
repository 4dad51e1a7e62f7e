import Testing

/// Tests of the program as a user has it: a child process, its files, its two streams and its exit code. One at a
/// time: each uses all cores.
@Suite(.serialized) struct CommandTests {}
