//! What a method takes and gives, as SOAP needs to know it.

/// The type that a signature's word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Not said, or several.
    Any,
    /// `nil`.
    Nil,
    /// `boolean`.
    Boolean,
    /// `int`, `i4`, `i8`: 64 bits.
    Int,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `dateTime.iso8601`.
    DateTime,
    /// `base64`.
    Base64,
    /// `array`.
    Array,
    /// `struct`.
    Struct,
}

impl Type {
    /// The type that `word` of a signature names; [`Type::Any`] for a word that is not known.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "nil" => Self::Nil,
            "boolean" | "bool" => Self::Boolean,
            "int" | "i4" | "i8" | "ex:i8" => Self::Int,
            "double" => Self::Double,
            "string" => Self::String,
            "dateTime.iso8601" | "dateTime" => Self::DateTime,
            "base64" => Self::Base64,
            "array" => Self::Array,
            "struct" => Self::Struct,
            _ => Self::Any,
        }
    }

    /// A word that names it; `any` for [`Type::Any`].
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Nil => "nil",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::DateTime => "dateTime.iso8601",
            Self::Base64 => "base64",
            Self::Array => "array",
            Self::Struct => "struct",
        }
    }
}

/// A parameter of a [`Signature`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name, if it is known; else it is called `arg0`, `arg1`, ... by its place.
    pub name: Option<String>,
    /// Its type.
    pub kind: Type,
}

/// One way to call a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What is returned.
    pub returns: Type,
    /// The parameters, in order.
    pub params: Vec<Param>,
}

impl Signature {
    /// The signature that `words` write: the type returned first, then those of the parameters.
    ///
    /// No words at all mean no parameters and a result of any type.
    #[must_use]
    pub fn from_words<S: AsRef<str>>(words: &[S]) -> Self {
        Self::named::<S, &str>(words, &[])
    }

    /// The same, with the names of the first parameters; those that have none here are called by their
    /// place.
    #[must_use]
    pub fn named<S: AsRef<str>, N: AsRef<str>>(words: &[S], names: &[N]) -> Self {
        let mut types = words.iter().map(|word| Type::from_word(word.as_ref()));
        let returns = types.next().unwrap_or(Type::Any);
        let mut names = names.iter().map(|name| name.as_ref().to_owned());
        let params = types.map(|kind| Param { name: names.next(), kind });
        Self { returns, params: params.collect() }
    }
}

/// Several types in one: what stands in one place of several signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merged {
    /// The one type; any, if there are several or none; nil, if there is no other.
    pub(crate) kind: Type,
    /// Whether nil is one of them.
    pub(crate) nillable: bool,
}

impl Merged {
    pub(crate) fn of(types: impl IntoIterator<Item = Type>) -> Self {
        let (mut kind, mut nillable) = (None, false);
        for found in types {
            match (found, kind) {
                (Type::Nil, _) => nillable = true,
                (_, None) => kind = Some(found),
                (_, Some(known)) if known == found => {}
                (_, Some(_)) => kind = Some(Type::Any),
            }
        }
        let kind = kind.unwrap_or(if nillable { Type::Nil } else { Type::Any });
        Self { kind, nillable: nillable || kind == Type::Any }
    }

    /// What a method of these signatures returns.
    pub(crate) fn returns(signatures: &[Signature]) -> Self {
        Self::of(signatures.iter().map(|signature| signature.returns))
    }

    /// What stands at `place` in those of `signatures` that have so many parameters.
    pub(crate) fn param(signatures: &[Signature], place: usize) -> Self {
        Self::of(signatures.iter().filter_map(|s| s.params.get(place)).map(|param| param.kind))
    }
}
