//! Loops around the stock client of tokio-modbus.

use std::time::Duration;

use anyhow::bail;
use mbe_bridge::link::Pacer;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_modbus::Slave;
use tokio_modbus::client::{Context, Reader, rtu, tcp};
use tokio_serial::SerialPortBuilderExt;

use super::{Begun, Rate, check};

const UNIT: Slave = Slave(1);

/// Silence between the frames of Modbus RTU above 19200 baud (MODBUS over Serial Line V1.02, 2.5.1.1).
const SILENCE: Duration = Duration::from_micros(1_750);

/// The stock client in a bare loop; `rtu-silenced` keeps the silence between frames that the library leaves to its user.
pub(super) fn stock(how: &str, place: &str, reads: u64) -> anyhow::Result<Rate> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut context, silence) = match how {
            "tcp" => (over_tcp(place).await?, None),
            "rtu" => (over_rtu(place)?, None),
            "rtu-silenced" => (over_rtu(place)?, Some(Pacer::new())),
            _ => bail!("`{how}` is not tcp, rtu or rtu-silenced"),
        };
        read(&mut context, silence, reads).await
    })
}

pub(super) async fn over_tcp(address: &str) -> anyhow::Result<Context> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(tcp::attach_slave(stream, UNIT))
}

fn over_rtu(port: &str) -> anyhow::Result<Context> {
    Ok(rtu::attach_slave(tokio_serial::new(port, super::FIELD_BAUD).open_native_async()?, UNIT))
}

async fn read(context: &mut Context, mut silence: Option<Pacer>, reads: u64) -> anyhow::Result<Rate> {
    for _ in 0..reads / 10 {
        once(context, &mut silence).await?;
    }
    let begun = Begun::now();
    for _ in 0..reads {
        once(context, &mut silence).await?;
    }
    Ok(begun.rate(reads, 0))
}

async fn once(context: &mut Context, silence: &mut Option<Pacer>) -> anyhow::Result<()> {
    check(&context.read_holding_registers(0, 2).await??)?;
    if let Some(pacer) = silence {
        pacer.until(Instant::now() + SILENCE).await;
    }
    Ok(())
}
