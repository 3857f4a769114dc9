"""What tests of handlers, backends and stores build on."""
