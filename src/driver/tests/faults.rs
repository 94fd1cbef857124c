//! Modbus RTU on a pseudo-terminal, with everything that can be wrong about an answer but its time.

use std::time::Duration;

use super::*;

/// A bus on a pseudo-terminal whose peer answers the question of each number in the way given for it.
async fn bus_with(
    line: LineSettings,
    mut answer: impl FnMut(u16, &[u8]) -> Vec<Piece> + Send + 'static,
) -> (Bus, SerialStream) {
    let Pty { master, keep, mut connector } = pty(line);
    tokio::spawn(serve(master, rtu_question, move |question| {
        answer(u16::from_be_bytes([question[2], question[3]]), question)
    }));
    (open(&mut connector, Protocol::ModbusRtu).await, keep)
}

/// The answer to question 1 is spoilt; those before and after it have to be right.
async fn spoilt(spoil: impl Fn(&[u8]) -> Vec<Piece> + Send + 'static) -> Result<u16, Error> {
    let (mut bus, _keep) =
        bus_with(
            fast_line(),
            move |number, question| {
                if number == 1 { spoil(question) } else { vec![(Duration::ZERO, rtu_answer(question))] }
            },
        )
        .await;
    assert_eq!(ask_modbus(&mut bus, 0, 100).await.unwrap(), 0);
    let outcome = ask_modbus(&mut bus, 1, 100).await;
    for number in 2..6 {
        match ask_modbus(&mut bus, number, 100).await {
            Ok(got) => assert_eq!(got, number, "after {outcome:?}"),
            // What was spoilt may cost one more exchange, never a wrong value.
            Err(error) => assert!(number == 2, "question {number} after {outcome:?}: {error}"),
        }
    }
    outcome
}

fn at_once(bytes: Vec<u8>) -> Vec<Piece> {
    vec![(Duration::ZERO, bytes)]
}

#[tokio::test]
async fn noise_before_a_good_reply_is_skipped() {
    for noise in
        [vec![0x55; 10], vec![0; 64], vec![0xFF; 64], (0..64).collect(), vec![1, 3], vec![1, 3, 4], vec![1, 0x83, 2]]
    {
        let outcome = spoilt(move |question| at_once([noise.clone(), rtu_answer(question)].concat())).await;
        assert_eq!(outcome.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_flipped_bit_is_a_checksum_error_at_once() {
    let began = Instant::now();
    let outcome = spoilt(|question| {
        let mut answer = rtu_answer(question);
        answer[4] ^= 0x10;
        at_once(answer)
    })
    .await;
    assert!(matches!(outcome, Err(Error::Checksum)), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_byte_count_of_255_is_named() {
    let outcome = spoilt(|question| {
        let mut answer = rtu_answer(question);
        answer[2] = 0xFF;
        at_once(answer)
    })
    .await;
    assert!(matches!(&outcome, Err(Error::Mismatch { what }) if what.starts_with("255 bytes")), "{outcome:?}");
}

#[tokio::test]
async fn half_a_reply_with_the_rest_late_is_truncated() {
    let outcome = spoilt(|question| {
        let answer = rtu_answer(question);
        vec![(Duration::ZERO, answer[..4].to_vec()), (Duration::from_millis(180), answer[4..].to_vec())]
    })
    .await;
    assert!(matches!(outcome, Err(Error::Truncated { got: 4 })), "{outcome:?}");
}

#[tokio::test]
async fn silence_is_no_reply() {
    let outcome = spoilt(|_| Vec::new()).await;
    assert!(matches!(outcome, Err(Error::NoReply(_))), "{outcome:?}");
}

#[tokio::test]
async fn replies_of_others_are_named() {
    let other = |unit: u8, function: u8| {
        move |question: &[u8]| at_once(rtu_answer(&[&[unit, function], &question[2..]].concat()))
    };
    let outcome = spoilt(other(2, 3)).await;
    assert!(matches!(&outcome, Err(Error::Mismatch { what }) if what.starts_with("unit 2")), "{outcome:?}");
    let outcome = spoilt(other(1, 4)).await;
    assert!(matches!(&outcome, Err(Error::Mismatch { what }) if what.contains("function 4")), "{outcome:?}");
}

#[tokio::test]
async fn a_reply_may_be_split_anywhere() {
    let (mut bus, _keep) = bus_with(fast_line(), |number, question| {
        let answer = rtu_answer(question);
        let (head, tail) = answer.split_at(usize::from(number) % answer.len());
        vec![(Duration::ZERO, head.to_vec()), (Duration::from_millis(4), tail.to_vec())]
    })
    .await;
    for number in 1..20 {
        assert_eq!(ask_modbus(&mut bus, number, 1000).await.unwrap(), number);
    }
}

#[tokio::test]
async fn an_exception_is_an_answer_and_leaves_the_line_clean() {
    let outcome = spoilt(|question| at_once(with_crc(&[question[0], question[1] | 0x80, 2]))).await;
    assert!(matches!(outcome, Err(Error::Exception { code: 2, what: "illegal data address" })), "{outcome:?}");
    assert_eq!(outcome.unwrap_err().recovery(), Recovery::SkipReading);
}

#[tokio::test]
async fn an_echo_is_skipped_where_it_is_expected_and_named_where_not() {
    let echoing = |_: u16, question: &[u8]| {
        vec![(Duration::ZERO, question.to_vec()), (Duration::from_millis(3), rtu_answer(question))]
    };
    let (mut bus, _keep) = bus_with(LineSettings { echo: true, ..fast_line() }, echoing).await;
    for number in [5, 0x0400, 0x0403, 9] {
        assert_eq!(ask_modbus(&mut bus, number, 200).await.unwrap(), number);
    }
    let (mut bus, _keep) = bus_with(fast_line(), echoing).await;
    for number in 5..8 {
        let error = ask_modbus(&mut bus, number, 200).await.unwrap_err();
        assert!(matches!(error, Error::Echo), "{error}");
    }
}

#[tokio::test]
async fn an_echo_alone_is_never_an_answer() {
    // Twenty-four coils from 0x03xx: the question has the shape of its own answer.
    let read = Read { unit: 1, table: Table::Coil, address: 0x0307, count: 24 };
    let (mut bus, _keep) = bus_with(fast_line(), |_, question| at_once(question.to_vec())).await;
    assert!(matches!(bus.read(&read, &timing(100)).await, Err(Error::Echo)));
    let (mut bus, _keep) =
        bus_with(LineSettings { echo: true, ..fast_line() }, |_, question| at_once(question.to_vec())).await;
    assert!(matches!(bus.read(&read, &timing(100)).await, Err(Error::NoReply(_))));
}

#[tokio::test]
async fn a_stray_byte_after_each_reply_does_not_keep_the_line_unsettled() {
    let (mut bus, _keep) =
        bus_with(
            fast_line(),
            |number, question| {
                if number == 2 { Vec::new() } else { at_once([rtu_answer(question), vec![0]].concat()) }
            },
        )
        .await;
    let mut right = 0;
    for number in 0..6 {
        if let Ok(got) = ask_modbus(&mut bus, number, 60).await {
            assert_eq!(got, number);
            right += 1;
        }
    }
    assert_eq!(right, 5);
    assert!(bus.discarded() >= 4, "{}", bus.discarded());
}

#[tokio::test]
async fn an_unplugged_port_is_gone_at_once_and_stays_so() {
    let Pty { master, keep, mut connector } = pty(fast_line());
    let mut bus = open(&mut connector, Protocol::ModbusRtu).await;
    let peer = async {
        let mut master = master;
        let mut question = [0; 8];
        master.read_exact(&mut question).await.unwrap();
        drop(master);
    };
    let began = Instant::now();
    let (outcome, ()) = tokio::join!(ask_modbus(&mut bus, 1, 60_000), peer);
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Gone(_)), "{error}");
    assert_eq!(error.recovery(), Recovery::Reopen);
    for _ in 0..1000 {
        assert!(matches!(ask_modbus(&mut bus, 1, 60_000).await, Err(Error::Gone(_))));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(keep);
}

#[tokio::test]
async fn a_closed_connection_is_gone_at_once() {
    for protocol in [Protocol::ModbusTcp, Protocol::ModbusRtu] {
        let (listener, mut connector) = listener().await;
        let mut bus = open(&mut connector, protocol).await;
        let (mut theirs, _) = listener.accept().await.unwrap();
        let peer = async {
            theirs.read_exact(&mut [0; 8]).await.unwrap();
            theirs.shutdown().await.unwrap();
        };
        let began = Instant::now();
        let (outcome, ()) = tokio::join!(ask_modbus(&mut bus, 1, 60_000), peer);
        assert!(matches!(outcome, Err(Error::Gone(_))), "{outcome:?}");
        assert!(matches!(ask_modbus(&mut bus, 1, 60_000).await, Err(Error::Gone(_))));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_socket_that_stays_mute_is_given_up() {
    let (listener, mut connector) = listener().await;
    let mut bus = open(&mut connector, Protocol::ModbusRtu).await;
    let (_held_open, _) = listener.accept().await.unwrap();
    let mut recoveries = Vec::new();
    for number in 0..3 {
        let error = ask_modbus(&mut bus, number, 20).await.unwrap_err();
        assert_eq!(error.reason(), crate::model::Reason::NO_REPLY, "{error}");
        recoveries.push(error.recovery());
    }
    assert_eq!(recoveries, [Recovery::Resync, Recovery::Resync, Recovery::Reopen]);
}

#[tokio::test]
async fn a_line_that_never_falls_silent_is_noisy() {
    let Pty { mut master, keep, mut connector } = pty(fast_line());
    let talker = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while master.write_all(&[0xAA; 3]).await.is_ok() {
            pace.tick().await;
        }
    });
    let mut bus = open(&mut connector, Protocol::ModbusRtu).await;
    let error = ask_modbus(&mut bus, 1, 50).await.unwrap_err();
    assert!(matches!(error, Error::Noisy { discarded } if discarded > 100), "{error}");
    talker.abort();
    drop(keep);
}

#[tokio::test]
async fn protocols_are_not_mixed() {
    let Pty { master: _master, keep: _keep, mut connector } = pty(fast_line());
    let mut bus = open(&mut connector, Protocol::Bytes).await;
    assert!(matches!(ask_modbus(&mut bus, 1, 50).await, Err(Error::Protocol)));
    let mut bus = open(&mut connector, Protocol::ModbusRtu).await;
    assert!(matches!(ask_text(&mut bus, 1, 50).await, Err(Error::Protocol)));
    let none = Read { count: 0, ..numbered(1) };
    assert!(matches!(bus.read(&none, &timing(50)).await, Err(Error::Count { .. })));
}
