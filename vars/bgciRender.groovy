Map call(Map args = [:]) {
    return bgciRun('render', args)
}
