//! Text instruments on a pseudo-terminal.

use std::time::Duration;

use crate::model::Outcome;
use crate::model::Reason;

use super::super::Driver;
use super::*;

async fn bus_with(
    line: LineSettings,
    cut: Cut,
    answer: impl FnMut(&[u8]) -> Vec<Piece> + Send + 'static,
) -> (Bus, SerialStream) {
    let Pty { master, keep, mut connector } = pty(line);
    tokio::spawn(serve(master, cut, answer));
    (open(&mut connector, Protocol::Bytes).await, keep)
}

/// One poll of `00ms<CR>`, answered with these bytes.
async fn answered(reply: &[u8]) -> Result<Vec<f64>, Error> {
    let reply = reply.to_vec();
    let (mut bus, _keep) = bus_with(fast_line(), text_question, move |_| vec![(Duration::ZERO, reply.clone())]).await;
    poll_once(&mut text_driver(&text_device("00ms\r", "{t:d5}", 150)), &mut bus).await
}

#[tokio::test]
async fn a_reply_is_what_the_profile_describes() {
    assert_eq!(answered(b"08347\r").await.unwrap(), [8347.0]);
    assert_eq!(answered(b"\n08347\r").await.unwrap(), [8347.0], "the LF of an earlier CR LF");
    assert_eq!(answered(b"08347\r\n").await.unwrap(), [8347.0]);
}

#[tokio::test]
async fn what_the_profile_does_not_describe_is_shown() {
    for (reply, shown) in [
        (&b"no\r"[..], "no<CR>"),
        (b"\r", "<CR>"),
        (b"8347\r", "8347<CR>"),
        (b"08347 \r", "08347 <CR>"),
        (b"008347\r", "008347<CR>"),
    ] {
        let error = answered(reply).await.unwrap_err();
        assert!(matches!(&error, Error::Malformed { shown: got, .. } if got == shown), "{error}");
        assert_eq!(error.recovery(), Recovery::Resync);
    }
}

#[tokio::test]
async fn a_nul_is_never_read_past() {
    for reply in [&b"\x0008347\r"[..], b"083\x0047\r", b"0834\x00\r", b"08347\x00\r"] {
        let error = answered(reply).await.unwrap_err();
        assert!(matches!(&error, Error::Malformed { .. }), "{error}");
    }
    // A pattern that takes anything must not get it either.
    let (mut bus, _keep) = bus_with(fast_line(), text_question, |_| vec![(Duration::ZERO, b"a\x00b\r".to_vec())]).await;
    let anything =
        Step { send: Some(b"x\r".to_vec()), expect: Some(Pattern::regex("(?s).*", 10).unwrap()), wait: Duration::ZERO };
    let device = text_steps(vec![anything], b"\r", 100);
    let error = poll_once(&mut text_driver(&device), &mut bus).await.unwrap_err();
    assert!(error.to_string().contains("parity"), "{error}");
}

#[tokio::test]
async fn half_a_reply_and_silence_are_told_apart() {
    let error = answered(b"083").await.unwrap_err();
    assert!(matches!(error, Error::Truncated { got: 3 }), "{error}");
    let error = answered(b"").await.unwrap_err();
    assert!(matches!(error, Error::NoReply(_)), "{error}");
}

#[tokio::test]
async fn unasked_lines_before_the_reply_are_skipped() {
    assert_eq!(answered(b"#XI1\r08347\r").await.unwrap(), [8347.0]);
    assert_eq!(answered(b"\xFF\x80garbage\r\r08347\r").await.unwrap(), [8347.0]);
}

#[tokio::test]
async fn noise_without_a_terminator_spoils_one_reply_only() {
    let mut asked = 0;
    let (mut bus, _keep) = bus_with(fast_line(), text_question, move |question| {
        asked += 1;
        let noise = if asked == 2 { vec![b'x'; 64] } else { Vec::new() };
        vec![(Duration::ZERO, [noise, text_answer(question)].concat())]
    })
    .await;
    assert_eq!(ask_text(&mut bus, 1, 100).await.unwrap(), 1);
    assert!(matches!(ask_text(&mut bus, 2, 100).await, Err(Error::Malformed { .. })));
    for number in 3..6 {
        assert_eq!(ask_text(&mut bus, number, 100).await.unwrap(), number);
    }
}

#[tokio::test]
async fn a_reply_may_be_split_anywhere() {
    let mut asked = 0;
    let (mut bus, _keep) = bus_with(fast_line(), text_question, move |question| {
        asked += 1;
        let answer = text_answer(question);
        let (head, tail) = answer.split_at(asked % answer.len());
        vec![(Duration::ZERO, head.to_vec()), (Duration::from_millis(4), tail.to_vec())]
    })
    .await;
    for number in 1..16 {
        assert_eq!(ask_text(&mut bus, number, 1000).await.unwrap(), number);
    }
}

#[tokio::test]
async fn an_echo_is_skipped_where_it_is_expected_and_named_where_not() {
    let echoing =
        |question: &[u8]| vec![(Duration::ZERO, question.to_vec()), (Duration::from_millis(3), text_answer(question))];
    let (mut bus, _keep) = bus_with(LineSettings { echo: true, ..fast_line() }, text_question, echoing).await;
    for number in 1..5 {
        assert_eq!(ask_text(&mut bus, number, 200).await.unwrap(), number);
    }
    let (mut bus, _keep) = bus_with(fast_line(), text_question, echoing).await;
    for number in 1..4 {
        let error = ask_text(&mut bus, number, 200).await.unwrap_err();
        assert!(matches!(error, Error::Echo), "{error}");
    }
}

#[tokio::test]
async fn two_steps_make_one_exchange() {
    let step = |send: &[u8], expect: &str| Step {
        send: Some(send.to_vec()),
        expect: Some(Pattern::parse(expect).unwrap()),
        wait: Duration::ZERO,
    };
    let steps = vec![step(b"PRX\r", "<ACK>"), step(b"\x05", "{s1:i},{p1:f},{s2:i},{p2:f}")];
    let device = text_steps(steps, b"\r\n", 300);
    let cut: Cut = |bytes| match bytes.first()? {
        5 => Some(1),
        _ => text_question(bytes),
    };
    let (mut bus, _keep) = bus_with(fast_line(), cut, |question| {
        let answer = if question == [5] { &b"0,9.7500E-01,0,1.5E-07\r\n"[..] } else { b"\x06\r\n" };
        vec![(Duration::ZERO, answer.to_vec())]
    })
    .await;
    let mut driver = text_driver(&device);
    assert_eq!(driver.polls()[0].exchanges.len(), 2);
    assert_eq!(poll_once(&mut driver, &mut bus).await.unwrap(), [0.0, 0.975, 0.0, 1.5e-7]);
}

#[tokio::test]
async fn a_handshake_lost_half_way_is_taken_up_again() {
    // The first ENQ is lost: the device answers the next PRX instead.
    let mut enquiries = 0;
    let cut: Cut = |bytes| match bytes.first()? {
        5 => Some(1),
        _ => text_question(bytes),
    };
    let step = |send: &[u8], expect: &str| Step {
        send: Some(send.to_vec()),
        expect: Some(Pattern::parse(expect).unwrap()),
        wait: Duration::ZERO,
    };
    let device = text_steps(vec![step(b"PRX\r", "<ACK>"), step(b"\x05", "{p:f}")], b"\r\n", 100);
    let (mut bus, _keep) = bus_with(fast_line(), cut, move |question| {
        if question != [5] {
            return vec![(Duration::ZERO, b"\x06\r\n".to_vec())];
        }
        enquiries += 1;
        if enquiries == 1 { Vec::new() } else { vec![(Duration::ZERO, b"1.25\r\n".to_vec())] }
    })
    .await;
    let mut driver = text_driver(&device);
    assert!(matches!(poll_once(&mut driver, &mut bus).await, Err(Error::NoReply(_))));
    assert_eq!(poll_once(&mut driver, &mut bus).await.unwrap(), [1.25]);
}

#[tokio::test]
async fn a_channel_whose_field_is_absent_has_no_value() {
    let mut device = text_device("00ms\r", "{t:d5}", 200);
    device.channels.push(super::plan::text_channel("absent".into()));
    let (mut bus, _keep) = bus_with(fast_line(), text_question, |_| vec![(Duration::ZERO, b"00001\r".to_vec())]).await;
    let polled = text_driver(&device).poll(&mut bus, 0).await;
    let outcomes: Vec<_> = polled.exchanges[0].readings.iter().map(|reading| reading.outcome.clone()).collect();
    assert_eq!(outcomes, [Outcome::good(1.0), Outcome::Bad(Reason::ABSENT)]);
}

/// One poll of A5 00 01, answered with these pieces.
async fn bytes_answered(pieces: Vec<Piece>) -> Result<Vec<f64>, Error> {
    let (mut bus, _keep) = bus_with(fast_line(), byte_question, move |_| pieces.clone()).await;
    poll_once(&mut text_driver(&byte_device(&[0xA5, 0, 1], 150)), &mut bus).await
}

#[tokio::test]
async fn a_stray_byte_makes_no_number_of_two_bytes() {
    let ms = Duration::from_millis;
    assert_eq!(bytes_answered(vec![(ms(0), vec![1, 0])]).await.unwrap(), [256.0]);
    assert_eq!(bytes_answered(vec![(ms(0), vec![1]), (ms(10), vec![0])]).await.unwrap(), [256.0]);
    for stray in [0, b'\r', b'\n', 0xFF] {
        for apart in [0, 5, 12] {
            // Before the reply, and behind it.
            for pieces in [[vec![stray, 1], vec![0]], [vec![1, 0], vec![stray]]] {
                let [head, tail] = pieces;
                let error = bytes_answered(vec![(ms(0), head), (ms(apart), tail)]).await.unwrap_err();
                assert!(matches!(error, Error::Malformed { .. }), "{stray} {apart}: {error}");
            }
        }
    }
    let error = bytes_answered(vec![(ms(0), vec![0xA5, 0, 1]), (ms(3), vec![1, 0])]).await.unwrap_err();
    assert!(matches!(error, Error::Echo), "{error}");
}
