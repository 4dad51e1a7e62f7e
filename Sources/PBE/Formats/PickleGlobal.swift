import Kernels

/// A Python name that pickles may refer to, and what this program does in its place.
struct PickleGlobal {
  enum Meaning {
    case rebuildTensor, rebuildParameter
    /// `OrderedDict` and its like: a dictionary.
    case dictionary
    /// `torch.Size`: its argument, a tuple.
    case size
    /// A storage class; nil for element types that aren't supported.
    case storage(HostTensor.ElementType?)
    /// Calling it gives a value that is of no use here.
    case opaque
  }

  let name: String
  let meaning: Meaning

  /// The allowed name, or nil. Nothing is ever looked up elsewhere and no Python code exists to run, so the
  /// list bounds what a file can mean; refusing the rest protects whoever opens the file with Python next.
  static func named(_ module: String, _ name: String) -> PickleGlobal? {
    let full = "\(module).\(name)"
    return known[full].map { PickleGlobal(name: full, meaning: $0) }
  }

  private static let known: [String: Meaning] = {
    var known: [String: Meaning] = [
      "torch._utils._rebuild_tensor": .rebuildTensor,
      "torch._utils._rebuild_tensor_v2": .rebuildTensor,
      "torch._utils._rebuild_parameter": .rebuildParameter,
      "torch.Size": .size,
      "torch.storage.UntypedStorage": .storage(.uint8),
      "torch.UntypedStorage": .storage(.uint8),
    ]
    let storages: [(String, HostTensor.ElementType?)] = [
      ("Double", .float64), ("Float", .float32), ("Half", .float16), ("BFloat16", .bfloat16),
      ("Long", .int64),
      ("Int", .int32), ("Short", .int16), ("Char", .int8), ("Byte", .uint8), ("Bool", .bool),
      ("ComplexFloat", nil), ("ComplexDouble", nil), ("QInt8", nil), ("QUInt8", nil), ("QInt32", nil),
    ]
    for (name, type) in storages { known["torch.\(name)Storage"] = .storage(type) }
    for name in ["collections.OrderedDict", "collections.defaultdict", "collections.Counter"] {
      known[name] = .dictionary
    }
    let types = [
      "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool", "half",
      "float", "double", "short", "int", "long", "complex64", "complex128", "device",
    ]
    for name in types { known["torch.\(name)"] = .opaque }
    for module in ["builtins", "__builtin__"] {
      known["\(module).dict"] = .dictionary
      for name in ["set", "frozenset", "bytearray", "complex", "list", "int", "float"] {
        known["\(module).\(name)"] = .opaque
      }
    }
    for name in ["core.multiarray.scalar", "core.multiarray._reconstruct", "dtype", "ndarray"] {
      known["numpy.\(name)"] = .opaque
    }
    for name in ["scalar", "_reconstruct"] { known["numpy._core.multiarray.\(name)"] = .opaque }
    known["_codecs.encode"] = .opaque
    return known
  }()

  /// The error for a name that isn't allowed; `isInstance` when the pickle makes an object of that class.
  static func refusal(_ module: String, _ name: String, isInstance: Bool, place: String) -> PBEError {
    let full = "\(module).\(name)".printable()
    let package = module.prefix { $0 != "." }
    if isInstance, !runsCode.contains(String(package)) {
      return PBEError(
        .badData,
        "the checkpoint holds a whole Python object of class \(full), whose code would be needed to read it",
        at: place, remedy: "load it where it was made and save model.state_dict() instead")
    }
    if package == "torch" {
      return PBEError(
        .badData, "the checkpoint asks to call \(full), which is not on the list of known-safe names",
        at: place,
        remedy: "save a state_dict of dense tensors of the usual types")
    }
    return PBEError(
      .badData, "the checkpoint asks to call \(full), which is not on the list of known-safe names",
      at: place,
      remedy: "it may be malicious: don't open it with Python either unless you trust its author")
  }

  /// Packages whose names have no business in a model, even as classes.
  private static let runsCode: Set<String> = [
    "os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "runpy", "socket", "shutil",
    "importlib",
    "pickle", "_pickle", "ctypes", "operator", "_operator", "functools", "commands", "pty", "code", "codeop",
    "asyncio",
    "multiprocessing", "webbrowser", "urllib", "http", "pip", "timeit", "pdb", "bdb", "cProfile", "profile",
    "threading",
  ]
}
