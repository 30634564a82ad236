"""An emulated Raspberry Pi that is really arm64, reached over SSH on 127.0.0.1; see README.md beside this file."""
