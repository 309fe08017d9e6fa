//! Calls the offline Move compiler, a C library that is loaded at run time.
//!
//! This crate exists because those calls need `unsafe`, which the rest of the workspace forbids.
//! It never interprets what it passes on: arguments are the caller's BCS bytes, diagnostics go to
//! the process's own stdout and stderr.

use std::ffi::OsStr;

use libloading::{Library, Symbol};

/// A byte vector that the library owns. Layout as the library's C header declares it.
#[repr(C)]
struct UnmanagedVector {
    is_none: bool,
    pointer: *mut u8,
    length: usize,
    capacity: usize,
}

impl UnmanagedVector {
    fn none() -> Self {
        Self { is_none: true, pointer: std::ptr::null_mut(), length: 0, capacity: 0 }
    }
}

/// Bytes lent to the library for one call.
#[repr(C)]
struct ByteSliceView {
    is_nil: bool,
    pointer: *const u8,
    length: usize,
}

impl ByteSliceView {
    fn of(bytes: &[u8]) -> Self {
        Self { is_nil: false, pointer: bytes.as_ptr(), length: bytes.len() }
    }
}

type Build = unsafe extern "C" fn(*mut UnmanagedVector, ByteSliceView) -> UnmanagedVector;
type Test =
    unsafe extern "C" fn(*mut UnmanagedVector, ByteSliceView, ByteSliceView) -> UnmanagedVector;
type Destroy = unsafe extern "C" fn(UnmanagedVector);

/// The loaded compiler.
pub struct Compiler {
    library: Library,
}

impl Compiler {
    /// Loads the library at `path`. The caller vouches for the file: loading runs its code.
    pub fn load(path: impl AsRef<OsStr>) -> Result<Self, String> {
        // SAFETY: the caller verified the file against a pinned hash; its initialisers only set up
        // a Rust runtime.
        let library = unsafe { Library::new(path.as_ref()) }.map_err(|error| error.to_string())?;
        Ok(Self { library })
    }

    /// Compiles a package. `arguments` are the BCS compiler arguments.
    pub fn build(&self, arguments: &[u8]) -> Result<(), String> {
        let mut error = UnmanagedVector::none();
        // SAFETY: the type is that of the exported function.
        let build: Symbol<Build> = unsafe { self.symbol(b"build_move_package\0") }?;
        // SAFETY: `arguments` and `error` live until the call returns; the library copies what it keeps.
        let answer = unsafe { build(&mut error, ByteSliceView::of(arguments)) };
        self.finish(answer, error)
    }

    /// Runs a package's unit tests. Both arguments are BCS.
    pub fn test(&self, arguments: &[u8], options: &[u8]) -> Result<(), String> {
        let mut error = UnmanagedVector::none();
        // SAFETY: the type is that of the exported function.
        let test: Symbol<Test> = unsafe { self.symbol(b"test_move_package\0") }?;
        let (arguments, options) = (ByteSliceView::of(arguments), ByteSliceView::of(options));
        // SAFETY: the viewed bytes and `error` live until the call returns.
        let answer = unsafe { test(&mut error, arguments, options) };
        self.finish(answer, error)
    }

    /// SAFETY: `T` must be the type of the exported function `name`.
    unsafe fn symbol<T>(&self, name: &[u8]) -> Result<Symbol<'_, T>, String> {
        // SAFETY: passed on to the caller.
        unsafe { self.library.get(name) }.map_err(|error| error.to_string())
    }

    fn finish(&self, answer: UnmanagedVector, error: UnmanagedVector) -> Result<(), String> {
        let message = message(&error);
        // SAFETY: the type is that of the exported function.
        let destroy: Symbol<Destroy> = unsafe { self.symbol(b"destroy_unmanaged_vector\0") }?;
        // SAFETY: both vectors came from the library and are given back once.
        unsafe {
            destroy(answer);
            destroy(error);
        }
        message.map_or(Ok(()), Err)
    }
}

fn message(error: &UnmanagedVector) -> Option<String> {
    if error.is_none || error.pointer.is_null() {
        return None;
    }
    // SAFETY: the library filled `pointer` with `length` bytes and has not freed them yet.
    let bytes = unsafe { std::slice::from_raw_parts(error.pointer, error.length) };
    Some(String::from_utf8_lossy(bytes).into_owned())
}
