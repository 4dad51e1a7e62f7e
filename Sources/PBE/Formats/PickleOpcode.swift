/// The pickle opcodes that are read. Left out, and so refused: instances by class name (`INST`, `OBJ`),
/// classes by registered number (`EXT1`, `EXT2`, `EXT4`), text persistent identifiers, and out-of-band
/// buffers.
enum PickleOpcode: UInt8 {
  case mark = 0x28, stop = 0x2e, pop = 0x30, popMark = 0x31, duplicate = 0x32
  case none = 0x4e, newTrue = 0x88, newFalse = 0x89
  case floatText = 0x46, float = 0x47
  case intText = 0x49, int32 = 0x4a, uint8 = 0x4b, longText = 0x4c, uint16 = 0x4d, long1 = 0x8a, long4 = 0x8b
  case stringText = 0x53, string = 0x54, shortString = 0x55
  case unicodeText = 0x56, unicode = 0x58, shortUnicode = 0x8c, unicode8 = 0x8d
  case bytes = 0x42, shortBytes = 0x43, bytes8 = 0x8e, byteArray8 = 0x96
  case emptyDictionary = 0x7d, dictionary = 0x64, setItem = 0x73, setItems = 0x75
  case emptyList = 0x5d, list = 0x6c, append = 0x61, appends = 0x65
  case emptyTuple = 0x29, tuple = 0x74, tuple1 = 0x85, tuple2 = 0x86, tuple3 = 0x87
  case emptySet = 0x8f, addItems = 0x90, frozenSet = 0x91
  case global = 0x63, stackGlobal = 0x93, reduce = 0x52, newObject = 0x81, newObjectWithKeywords = 0x92
  case build = 0x62, persistentID = 0x51
  case getText = 0x67, get1 = 0x68, get4 = 0x6a, putText = 0x70, put1 = 0x71, put4 = 0x72, memoize = 0x94
  case proto = 0x80, frame = 0x95
}
