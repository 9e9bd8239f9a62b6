package admin

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"
)

// index is the home page: a form for each command, with POST for what changes
// something.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var out bytes.Buffer
	if err := indexPage.Execute(&out, s.rows()); err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=UTF-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	text(w, http.StatusOK, out.String())
}

type row struct {
	Name, Help, Method string
	Params             []inputField
}

type inputField struct {
	Name, Help string
	Choices    []string
	Flag       bool
}

func (s *Server) rows() []row {
	var rows []row
	for _, c := range s.commands[1:] {
		r := row{Name: strings.TrimPrefix(c.path, "/"), Help: c.help, Method: "get"}
		if c.mutates {
			r.Method = "post"
		}
		for _, p := range c.params {
			r.Params = append(r.Params, inputField{p.name, p.help, p.choices, p.flag})
		}
		rows = append(rows, r)
	}
	return rows
}

// The actions are relative, so that the page works below a prefix.
var indexPage = template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>ginnel admin</title>
<style>
body, button, input, select { font-family: sans-serif; font-size: medium; }
table { border-collapse: collapse; }
td { padding: 4px; vertical-align: top; }
td.param { padding-left: 20px; text-align: right; }
tbody:nth-child(even) { background-color: #eeeeee; }
form { margin: 0; }
button.read { background: none; border: none; padding: 0; color: #069; text-decoration: underline; cursor: pointer; }
</style>
</head>
<body>
<table>
{{- range .}}{{$form := .Name}}
<tbody>
<tr>
<td><form action="{{.Name}}" method="{{.Method}}" id="{{.Name}}"><button{{if eq .Method "get"}} class="read"{{end}}>{{.Name}}</button></form></td>
<td>{{.Help}}</td>
</tr>
{{- range .Params}}
<tr>
<td class="param">
{{- if .Choices}}<select name="{{.Name}}" form="{{$form}}" aria-label="{{.Name}}">{{range .Choices}}<option value="{{.}}">{{.}}</option>{{end}}</select>
{{- else if .Flag}}<input type="checkbox" name="{{.Name}}" form="{{$form}}" aria-label="{{.Name}}">
{{- else}}<input type="text" name="{{.Name}}" form="{{$form}}" aria-label="{{.Name}}">{{end}}</td>
<td>{{.Name}}: {{.Help}}</td>
</tr>
{{- end}}
</tbody>
{{- end}}
</table>
</body>
</html>
`))
