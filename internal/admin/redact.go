package admin

import (
	udpaannotationsv3 "github.com/cncf/xds/go/udpa/annotations"
	udpav1 "github.com/cncf/xds/go/udpa/type/v1"
	xdsv3 "github.com/cncf/xds/go/xds/type/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

const redacted = "[redacted]"

// redact takes out of m what is sensitive: the fields that the API marks so, such as
// private keys and passwords, and all that is below them. Text becomes "[redacted]",
// other values their default. It looks into Any and TypedStruct messages too.
func redact(m protoreflect.Message) { hide(m, false) }

func hide(m protoreflect.Message, secret bool) {
	switch x := m.Interface().(type) {
	case *anypb.Any:
		hidePacked(x, secret)
		return
	case *udpav1.TypedStruct:
		hideStruct(x.GetTypeUrl(), x.GetValue(), secret)
		return
	case *xdsv3.TypedStruct:
		hideStruct(x.GetTypeUrl(), x.GetValue(), secret)
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		secret := secret || sensitive(fd)
		switch {
		case fd.IsMap():
			hideMap(m.Mutable(fd).Map(), fd.MapValue(), secret)
		case fd.IsList():
			hideList(m.Mutable(fd).List(), fd, secret)
		case fd.Message() != nil:
			hide(m.Mutable(fd).Message(), secret)
		case secret:
			hideField(m, fd)
		}
		return true
	})
}

func sensitive(fd protoreflect.FieldDescriptor) bool {
	marked, _ := proto.GetExtension(fd.Options(), udpaannotationsv3.E_Sensitive).(bool)
	return marked
}

func hideField(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if v, ok := hidden(fd); ok {
		m.Set(fd, v)
	} else {
		m.Clear(fd)
	}
}

// hidden is what stands for a sensitive value; false: nothing can.
func hidden(fd protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(redacted), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(redacted)), true
	}
	return protoreflect.Value{}, false
}

func hideList(l protoreflect.List, fd protoreflect.FieldDescriptor, secret bool) {
	v, ok := hidden(fd)
	for i := 0; i < l.Len(); i++ {
		switch {
		case fd.Message() != nil:
			hide(l.Get(i).Message(), secret)
		case secret && ok:
			l.Set(i, v)
		}
	}
	if secret && fd.Message() == nil && !ok {
		l.Truncate(0)
	}
}

func hideMap(m protoreflect.Map, value protoreflect.FieldDescriptor, secret bool) {
	v, ok := hidden(value)
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		switch {
		case value.Message() != nil:
			hide(m.Mutable(k).Message(), secret)
		case secret && ok:
			m.Set(k, v)
		case secret:
			m.Clear(k)
		}
		return true
	})
}

// hidePacked redacts what an Any holds. What it holds is unknown where it cannot be
// unpacked: below something sensitive it is then taken out.
func hidePacked(a *anypb.Any, secret bool) {
	m, err := a.UnmarshalNew()
	if err != nil {
		if secret {
			a.Value = nil
		}
		return
	}
	hide(m.ProtoReflect(), secret)
	proto.Reset(a)
	proto.Merge(a, pack(m))
}

// hideStruct redacts the value of a TypedStruct: as a message of its type where it
// is one, else as what it is.
func hideStruct(url string, s *structpb.Struct, secret bool) {
	if m := typed(url, s); m != nil {
		hide(m.ProtoReflect(), secret)
		raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err == nil && protojson.Unmarshal(raw, s) == nil {
			return
		}
	}
	if s != nil {
		hide(s.ProtoReflect(), secret)
	}
}

// typed returns s as a message of its type; nil when it is none.
func typed(url string, s *structpb.Struct) proto.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return nil
	}
	raw, err := protojson.Marshal(s)
	if err != nil {
		return nil
	}
	m := t.New().Interface()
	if protojson.Unmarshal(raw, m) != nil {
		return nil
	}
	return m
}
