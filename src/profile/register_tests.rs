//! Registers, against captured and printed values, and round trips of every type and order.

use proptest::prelude::*;

use super::*;

const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

fn register(ty: RegisterType, order: Order) -> Register {
    let registers = ty.registers().unwrap_or(4);
    Register { table: Table::Holding, address: 0, registers, ty, order, bit: 3, chars: 2 }
}

#[test]
fn the_captured_temperature_is_read() {
    // BASF Exactus, captured reply 01 03 04 43 55 D7 2F E1 8B = 213.84 degC.
    let Raw::Float(value) = register(RegisterType::F32, Order::Abcd).read(&[0x4355, 0xD72F]).unwrap() else { panic!() };
    assert!((value - 213.840_56).abs() < 1e-5);
}

#[test]
fn a_printed_test_pattern_is_read_in_every_order() {
    // Eurotherm Series 2000 handbook: 1.001 is 3F 80 20 C5, most significant word first.
    for (order, words) in [
        (Order::Abcd, [0x3F80, 0x20C5]),
        (Order::Cdab, [0x20C5, 0x3F80]),
        (Order::Badc, [0x803F, 0xC520]),
        (Order::Dcba, [0xC520, 0x803F]),
    ] {
        assert_eq!(register(RegisterType::F32, order).read(&words), Ok(Raw::Float(f64::from(1.001_f32))), "{order:?}");
    }
    // Watlow EZ-ZONE, least significant word first: 75.0 is sent 0000 4296.
    assert_eq!(register(RegisterType::F32, Order::Cdab).read(&[0x0000, 0x4296]), Ok(Raw::Float(75.0)));
}

#[test]
fn signs_digits_bits_and_texts() {
    let read = |ty, words: &[u16]| register(ty, Order::Abcd).read(words);
    assert_eq!(read(RegisterType::I16, &[0xFFFE]), Ok(Raw::Integer(-2)));
    assert_eq!(read(RegisterType::I32, &[0xFFFF, 0xFFFE]), Ok(Raw::Integer(-2)));
    assert_eq!(read(RegisterType::I8, &[0x12FE]), Ok(Raw::Integer(-2)));
    assert_eq!(read(RegisterType::U64, &[0xFFFF; 4]), Ok(Raw::Integer(i128::from(u64::MAX))));
    assert_eq!(read(RegisterType::Bcd32, &[0x1234, 0x5678]), Ok(Raw::Integer(12_345_678)));
    assert_eq!(read(RegisterType::Bcd16, &[0x12A4]), Err(RegisterError::NotDecimal(0x12A4)));
    assert_eq!(read(RegisterType::Bit, &[0b1000]), Ok(Raw::Integer(1)));
    assert_eq!(read(RegisterType::Str, &[0x4453, 0x5220, 0, 0]), Ok(Raw::text("DSR")));
    assert_eq!(read(RegisterType::Str, &[0x4400, 0x5220, 0, 0]), Err(RegisterError::NotText(0)));
    assert_eq!(read(RegisterType::F32, &[1]), Err(RegisterError::Count { expected: 2, got: 1 }));
}

#[test]
fn one_character_in_each_register() {
    let name = Register { chars: 1, ..register(RegisterType::Str, Order::Abcd) };
    let mut words = [0xFFFF; 4];
    name.write(&Raw::text("TH1"), &mut words).unwrap();
    assert_eq!(words, [0x54, 0x48, 0x31, 0]);
    assert_eq!(name.read(&words), Ok(Raw::text("TH1")));
}

#[test]
fn halves_are_those_of_ieee_754() {
    let half = register(RegisterType::F16, Order::Abcd);
    for (bits, number) in [
        (0x3C00, 1.0),
        (0xC000, -2.0),
        (0x7BFF, 65_504.0),
        (0x0001, 5.960_464_477_539_063e-8),
        (0x3555, 0.333_251_953_125),
    ] {
        assert_eq!(half.read(&[bits]), Ok(Raw::Float(number)));
    }
    assert_eq!(half.read(&[0x7C00]), Ok(Raw::Float(f64::INFINITY)));
}

#[test]
fn a_bit_leaves_its_neighbours_alone() {
    let mut words = [0xA5A5];
    register(RegisterType::Bit, Order::Abcd).write(&Raw::Integer(1), &mut words).unwrap();
    assert_eq!(words, [0xA5AD]);
    register(RegisterType::U8, Order::Badc).write(&Raw::Integer(0), &mut words).unwrap();
    assert_eq!(words, [0x00AD]);
}

#[test]
fn what_does_not_fit_is_refused() {
    for (ty, raw) in [
        (RegisterType::U16, Raw::Integer(65_536)),
        (RegisterType::U16, Raw::Integer(-1)),
        (RegisterType::I16, Raw::Float(32_767.6)),
        (RegisterType::Bcd16, Raw::Integer(10_000)),
        (RegisterType::Bit, Raw::Integer(2)),
        (RegisterType::U32, Raw::Float(f64::NAN)),
        (RegisterType::Str, Raw::text("nine char")),
        (RegisterType::F32, Raw::text("OFF")),
    ] {
        let register = register(ty, Order::Abcd);
        let mut words = vec![7; usize::from(register.registers)];
        assert!(register.write(&raw, &mut words).is_err(), "{ty:?} took {raw:?}");
        assert!(words.iter().all(|word| *word == 7), "a refused value must leave the registers alone");
    }
}

/// A type with a value that it can hold.
fn typed() -> impl Strategy<Value = (RegisterType, Raw)> {
    use RegisterType as T;
    let whole = |ty, range: std::ops::RangeInclusive<i128>| range.prop_map(move |w| (ty, Raw::Integer(w)));
    prop_oneof![
        whole(T::Bit, 0..=1),
        whole(T::U8, 0..=255),
        whole(T::I8, -128..=127),
        whole(T::U16, 0..=0xFFFF),
        whole(T::Enum, 0..=0xFFFF),
        whole(T::Flags, 0..=0xFFFF),
        whole(T::I16, -0x8000..=0x7FFF),
        whole(T::U32, 0..=0xFFFF_FFFF),
        whole(T::I32, -0x8000_0000..=0x7FFF_FFFF),
        whole(T::U64, 0..=i128::from(u64::MAX)),
        whole(T::I64, i128::from(i64::MIN)..=i128::from(i64::MAX)),
        whole(T::Bcd16, 0..=9_999),
        whole(T::Bcd32, 0..=99_999_999),
        any::<f64>().prop_map(|f| (T::F64, Raw::Float(f))),
        any::<f32>().prop_map(|f| (T::F32, Raw::Float(f64::from(f)))),
        (0_u16..0x7C00, any::<bool>()).prop_map(|(bits, minus)| {
            let half = half_to_f64(bits);
            (T::F16, Raw::Float(if minus { -half } else { half }))
        }),
        "[!-~]([ -~]{0,6}[!-~])?".prop_map(|text| (T::Str, Raw::text(&text))),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((ty, raw) in typed(), order in prop::sample::select(&ORDERS[..]), dirt in any::<u16>()) {
        let register = register(ty, order);
        let mut words = vec![dirt; usize::from(register.registers)];
        register.write(&raw, &mut words).unwrap();
        prop_assert_eq!(register.read(&words), Ok(raw));
    }

    #[test]
    fn no_registers_make_it_panic(words in prop::collection::vec(any::<u16>(), 0..8), (ty, _) in typed()) {
        for order in ORDERS {
            let register = register(ty, order);
            drop(register.read(&words));
        }
    }
}
