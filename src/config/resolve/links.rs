//! Links: where they go, with what their profiles know about them filled in.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::document::DurationText;
use crate::document::Spanned;
use crate::model::LineSettings;
use crate::model::Rs485;
use crate::model::Transport;
use crate::profile::Profile;
use crate::profile::{baud, data_bits, parity, stop_bits};

use super::super::LinkConfig;
use super::super::file::{AddressFile, LinkFile, Rs485Choice, Rs485File, SerialFile};
use super::Resolver;

/// The profiles of the instruments, in their order; none where there is a problem with it.
pub(super) type Profiles = Vec<Option<Arc<Profile>>>;

/// The registered port of Modbus/TCP.
const MODBUS_PORT: u16 = 502;

/// What the kernel's serial core takes. Source: Linux, `drivers/tty/serial/serial_core.c`, `RS485_MAX_RTS_DELAY`.
const LONGEST_RS485_DELAY: Duration = Duration::from_millis(100);

const KINDS: &str = "one of .serial, .tcp, .rtu-over-tcp and .modbus-tcp";

impl Resolver<'_> {
    /// The links in the order of their names. One that has a problem is there all the same, so that what stands on it is
    /// not reported twice.
    pub(super) fn links(&mut self, profiles: &Profiles) -> Vec<LinkConfig> {
        let document = self.document;
        let mut made: Vec<LinkConfig> = Vec::new();
        for (name, entry) in &document.value.links {
            let transport = self.transport(name, entry, profiles);
            if let Transport::Serial { port, .. } = &transport {
                let same = |other: &&LinkConfig| matches!(&other.transport, Transport::Serial { port: own, .. } if own == port);
                if let Some(other) =
                    made.iter().find(same).map(|other| Arc::clone(&other.name)).filter(|_| !port.is_empty())
                {
                    let span = entry.get_ref().serial.as_ref().and_then(|serial| serial.get_ref().port.as_ref());
                    let span = span.map_or(name.span(), Spanned::span);
                    self.error(
                        span,
                        format!("the links `{other}` and `{}` go to one port", name.get_ref()),
                        "let their instruments share one link",
                    );
                }
            }
            let used = document.value.instruments.iter().any(|instrument| {
                instrument.get_ref().link.as_ref().is_some_and(|link| link.get_ref() == name.get_ref())
            });
            if !used {
                self.warning(name.span(), format!("no instrument is on the link `{}`", name.get_ref()), "");
            }
            made.push(LinkConfig { name: name.get_ref().as_str().into(), transport });
        }
        made
    }

    fn transport(&mut self, name: &Spanned<String>, entry: &Spanned<LinkFile>, profiles: &Profiles) -> Transport {
        let file = entry.get_ref();
        let path = format!("links.{}", name.get_ref());
        let given = [
            file.serial.as_ref().map(Spanned::span),
            file.tcp.as_ref().map(Spanned::span),
            file.rtu_over_tcp.as_ref().map(Spanned::span),
            file.modbus_tcp.as_ref().map(Spanned::span),
        ];
        if let Some(second) = given.iter().flatten().nth(1) {
            self.error(second.clone(), format!("the link `{}` goes to two places", name.get_ref()), KINDS);
        }
        if let Some(serial) = &file.serial {
            return self.serial(&path, name, serial, profiles);
        }
        let address = |resolver: &mut Self, kind: &str, file: &Spanned<AddressFile>, usual| {
            resolver.address(&format!("{path}.{kind}"), name, file, usual, profiles)
        };
        if let Some(tcp) = &file.tcp {
            return Transport::Tcp { address: address(self, "tcp", tcp, None) };
        }
        if let Some(tcp) = &file.rtu_over_tcp {
            return Transport::RtuOverTcp { address: address(self, "rtu-over-tcp", tcp, None) };
        }
        if let Some(tcp) = &file.modbus_tcp {
            return Transport::ModbusTcp { address: address(self, "modbus-tcp", tcp, Some(MODBUS_PORT)) };
        }
        let kinds = ["serial", "tcp", "rtu-over-tcp", "modbus-tcp"];
        if !kinds.iter().any(|kind| self.document.was_cut(&format!("{path}.{kind}"))) {
            self.error(
                name.span(),
                format!("the link `{}` goes nowhere", name.get_ref()),
                format!("write [links.{}.serial] or the like: {KINDS}", name.get_ref()),
            );
        }
        Transport::ModbusTcp { address: String::new() }
    }

    /// The instruments on a link: place in the file and profile.
    fn on<'p>(&self, name: &str, profiles: &'p Profiles) -> Vec<(usize, &'p Arc<Profile>)> {
        let instruments = self.document.value.instruments.iter();
        let on_it = instruments
            .enumerate()
            .filter(|(_, instrument)| instrument.get_ref().link.as_ref().is_some_and(|link| link.get_ref() == name));
        on_it.filter_map(|(index, _)| Some((index, profiles.get(index)?.as_ref()?))).collect()
    }

    fn serial(
        &mut self,
        path: &str,
        name: &Spanned<String>,
        entry: &Spanned<SerialFile>,
        profiles: &Profiles,
    ) -> Transport {
        let file = entry.get_ref();
        let port = match &file.port {
            None => {
                let help = "port = \"/dev/serial/by-id/...\"; `mbe-bridge ports` lists them";
                self.missing(
                    entry.span(),
                    &format!("{path}.serial.port"),
                    format!("the link `{}` has no `port`", name.get_ref()),
                    help,
                );
                String::new()
            }
            Some(port) => {
                if !is_port(port.get_ref()) {
                    let help = "a path, or \"usb:VID:PID\" or \"usb:VID:PID:SERIAL\" with VID and PID in hex";
                    self.error(port.span(), format!("`{}` names no port", port.get_ref()), help);
                }
                port.get_ref().clone()
            }
        };
        let line = self.line(name, file, entry.span(), profiles);
        Transport::Serial { port, line }
    }

    fn line(
        &mut self,
        name: &Spanned<String>,
        file: &SerialFile,
        whole: Range<usize>,
        profiles: &Profiles,
    ) -> LineSettings {
        let stated: Vec<(usize, &Arc<Profile>)> =
            self.on(name.get_ref(), profiles).into_iter().filter(|(_, profile)| profile.states_line()).collect();
        let mut line = stated.first().map_or_else(LineSettings::default, |(_, profile)| profile.line.clone());
        let source = &self.document.source;
        let given_baud = baud(file.baud.as_ref(), source, &mut self.problems);
        let given_bits = data_bits(file.data_bits.as_ref(), source, &mut self.problems);
        let given_stop = stop_bits(file.stop_bits.as_ref(), source, &mut self.problems);
        let set = |line: &mut LineSettings| {
            line.baud = given_baud.unwrap_or(line.baud);
            line.data_bits = given_bits.unwrap_or(line.data_bits);
            line.parity = file.parity.map_or(line.parity, parity);
            line.stop_bits = given_stop.unwrap_or(line.stop_bits);
            line.rts = file.rts.as_ref().map(|rts| *rts.get_ref()).or(line.rts);
            line.dtr = file.dtr.or(line.dtr);
            line.echo = file.echo.unwrap_or(line.echo);
        };
        set(&mut line);
        line.rs485 = self.rs485(file);
        if line.rs485.is_some() {
            // The port's driver moves RTS itself.
            line.rts = None;
        }
        line.idle = file.idle.map(|idle| idle.0);
        for (index, profile) in stated.iter().skip(1) {
            let mut own = profile.line.clone();
            set(&mut own);
            own.rs485 = line.rs485;
            own.rts = if line.rs485.is_some() { None } else { own.rts };
            own.idle = line.idle;
            if own != line {
                let message = format!(
                    "`{}` is set to {own} by its profile, and the link `{}` to {line} by another",
                    profile.id,
                    name.get_ref()
                );
                let span = self.instrument_span(*index);
                self.error(
                    span,
                    message,
                    "set all instruments of a line alike, and say how on the link: baud, parity, ...",
                );
            }
        }
        if stated.is_empty() && file.baud.is_none() && !self.on(name.get_ref(), profiles).is_empty() {
            self.warning(
                whole,
                format!("nothing says how the line of `{}` is set; {line} is assumed", name.get_ref()),
                "baud = 9600, parity = \"none\"",
            );
        }
        line
    }

    fn rs485(&mut self, file: &SerialFile) -> Option<Rs485> {
        let choice = file.rs485.as_ref()?;
        let Rs485Choice::Yes(wanted) = choice.get_ref() else { return None };
        if let Some(rts) = &file.rts {
            let message = "`rts` and `rs485` exclude each other: with `rs485` the port's driver moves RTS by itself";
            self.error(rts.span(), message.to_owned(), "leave one of them out");
        }
        let Rs485File { rts_on_send, rts_after_send, delay_before, delay_after } = wanted;
        let on_send = rts_on_send.unwrap_or_else(|| rts_after_send.is_none_or(|after| !after));
        if *rts_after_send == Some(on_send) {
            let message = "RTS is to have the same level while sending and after it, which turns no direction";
            self.error(choice.span(), message.to_owned(), "rs485 = { rts_on_send = true, rts_after_send = false }");
        }
        Some(Rs485 {
            rts_on_send: on_send,
            delay_before: self.rs485_delay(delay_before.as_ref()),
            delay_after: self.rs485_delay(delay_after.as_ref()),
        })
    }

    fn rs485_delay(&mut self, given: Option<&Spanned<DurationText>>) -> Duration {
        let Some(given) = given else { return Duration::ZERO };
        let delay = given.get_ref().0;
        if delay.subsec_nanos() % 1_000_000 != 0 || delay > LONGEST_RS485_DELAY {
            let message = "serial drivers wait for whole milliseconds here, and for 100 at most".to_owned();
            self.error(given.span(), message, "\"1ms\"");
        }
        delay
    }

    fn address(
        &mut self,
        path: &str,
        name: &Spanned<String>,
        entry: &Spanned<AddressFile>,
        usual: Option<u16>,
        profiles: &Profiles,
    ) -> String {
        let Some(given) = &entry.get_ref().address else {
            let message = format!("the link `{}` has no `address`", name.get_ref());
            self.missing(entry.span(), &format!("{path}.address"), message, "address = \"192.168.10.20:502\"");
            return String::new();
        };
        let text = given.get_ref().trim();
        // An IPv6 address stands in brackets where a port follows.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let from_profile = self.on(name.get_ref(), profiles).iter().find_map(|(_, profile)| profile.tcp_port);
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => from_profile.or(usual),
        };
        match port {
            Some(port) if !host.is_empty() && !host.contains(char::is_whitespace) => format!("{host}:{port}"),
            _ => {
                self.error(given.span(), format!("`{text}` is no address with a port"), "\"192.168.10.20:502\"");
                String::new()
            }
        }
    }

    pub(super) fn instrument_span(&self, index: usize) -> Range<usize> {
        self.document
            .value
            .instruments
            .get(index)
            .map_or(0..0, |instrument| instrument.get_ref().name.as_ref().map_or(instrument.span(), Spanned::span))
    }
}

fn is_port(text: &str) -> bool {
    let Some(usb) = text.strip_prefix("usb:") else { return !text.trim().is_empty() };
    let mut parts = usb.splitn(3, ':');
    let hex =
        |part: Option<&str>| part.is_some_and(|part| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    hex(parts.next()) && hex(parts.next()) && parts.next().is_none_or(|serial| !serial.is_empty())
}
