//! Traps of real instruments, sprung by simulators over real ports and sockets: where no true value can be had, the
//! reading is missing with a reason, and it is never a wrong one.

mod modbus;
mod peer;
mod shows;
mod talkers;
mod text;
