//! Writing answers.
use super::{CLASS_IN, Question, Rcode, TYPE_A, TYPE_OPT};
use std::net::Ipv4Addr;

/// Bytes of UDP payload that we say we take.
const PAYLOAD: u16 = 1232;

/// One address. To a question for another type: [`empty`], so that no type is answered with the wrong record.
pub fn answer_address(question: &Question, address: Ipv4Addr, ttl: u32) -> Vec<u8> {
    if question.qtype != TYPE_A {
        return empty(question);
    }
    let mut out = start(question, Rcode::NoError, 1);
    out.extend([0xc0, 12]); // The name of the question, by pointer.
    out.extend(TYPE_A.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(4u16.to_be_bytes());
    out.extend(address.octets());
    end(question, out)
}

/// The name is there, but nothing of that type.
pub fn empty(question: &Question) -> Vec<u8> {
    end(question, start(question, Rcode::NoError, 0))
}

/// The policy does not allow it.
pub fn refused(question: &Question) -> Vec<u8> {
    end(question, start(question, Rcode::Refused, 0))
}

/// An answer to what was no question: a header alone.
pub fn error(id: u16, rcode: Rcode) -> Vec<u8> {
    header(id, false, rcode, [0; 3])
}

/// `counts`: questions, answers, additional records.
fn header(id: u16, rd: bool, rcode: Rcode, counts: [u16; 3]) -> Vec<u8> {
    let [questions, answers, more] = counts;
    let mut out = Vec::with_capacity(super::MAX_ANSWER);
    out.extend(id.to_be_bytes());
    // An answer (0x80), recursion available (0x80 of the second byte): some resolvers ignore one that is not.
    out.extend([0x80 | u8::from(rd), 0x80 | rcode as u8]);
    for count in [questions, answers, 0, more] {
        out.extend(count.to_be_bytes());
    }
    out
}

fn start(question: &Question, rcode: Rcode, answers: u16) -> Vec<u8> {
    let mut out = header(
        question.id,
        question.rd,
        rcode,
        [1, answers, question.edns.into()],
    );
    out.extend_from_slice(&question.wire);
    out.extend(question.qtype.to_be_bytes());
    out.extend(question.qclass.to_be_bytes());
    out
}

fn end(question: &Question, mut out: Vec<u8>) -> Vec<u8> {
    if question.edns {
        out.push(0);
        out.extend(TYPE_OPT.to_be_bytes());
        out.extend(PAYLOAD.to_be_bytes());
        out.extend([0; 6]); // Extended code, version, flags, no options.
    }
    out
}
